"""Plans: how a request will be computed, chosen from the graph, the query and the budget alone."""
