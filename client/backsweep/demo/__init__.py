"""`backsweep demo`: a real model, a real server, real workers, every derivative beside its formula."""
