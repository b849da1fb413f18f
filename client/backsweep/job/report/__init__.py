"""One self-contained HTML page of a job: no external resource, readable without a script, every text escaped.

markup  elements that cannot be written unescaped
plot    curves on logarithmic axes        picture  a part of a graph
case    one case                          page     the document, with its style and its one small script
"""
