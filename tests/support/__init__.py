"""The kit of the tests: graphs, draws, runs and an independent judge of derivatives. Imported as `support`."""
