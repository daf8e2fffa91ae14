# a comment, so the next line is no directive
# escape=`
FROM \
  # comment
  al\
pine\

  AS   first
RUN echo \\
RUN echo a \ 
  && FROM b
from FIRST
FROM first as second
	COPY	--from=first	a	b
FROM sec\
ond
