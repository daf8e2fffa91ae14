#!/bin/sh
# render PAGES SITE VERSION: one HTML page for each text, and an index.
set -eu
pages=$1 site=$2 version=$3
mkdir -p "$site"

escaped() { sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' "$1"; }

{
  echo "<!doctype html><title>shop</title><h1>The shop, $version</h1><ul>"
  for page in "$pages"/*.txt; do
    name=$(basename "$page" .txt)
    title=$(escaped "$page" | head -n 1)
    echo "<li><a href=\"$name.html\">$title</a></li>"
    {
      echo "<!doctype html><title>$title</title><h1>$title</h1>"
      escaped "$page" | tail -n +2 | awk '
        /^$/ { if (open) print "</p>"; open = 0; next }
        { if (!open) print "<p>"; open = 1; print }
        END { if (open) print "</p>" }'
    } >"$site/$name.html"
  done
  echo "</ul>"
} >"$site/index.html"
