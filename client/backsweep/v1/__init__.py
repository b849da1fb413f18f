"""Generated from proto/backsweep/v1 by `make proto`, never edited by hand."""
