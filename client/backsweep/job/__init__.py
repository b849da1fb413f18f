"""`backsweep check SUITE.toml`: many models, points and judges checked as one job, with reports for people and CI.

    suite -> cases -> run (over any service, keeping what is finished) -> results -> JUnit, JSON Lines, HTML

Nothing here judges a derivative: a case is one `Function.check`, wherever the service computes it. A report
holds no clock and no machine: equal suites on equal engines give equal files, interrupted or not.
"""
