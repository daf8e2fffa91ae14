# check=skip=all
# escape=`
FROM windows/nano`
:1 AS `
  win
RUN dir c:\ `

  # a comment in the middle
  && COPY --from=nothing
FROM win
COPY --from=win c:\x d:\
