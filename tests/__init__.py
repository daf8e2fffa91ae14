"""Tests, in folders that mirror the rooms of `reconciler/`. A folder is a package, so that file names may repeat."""
