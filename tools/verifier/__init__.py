"""The verifier for a browser: one page on which `m43 verify` itself runs, and what builds it."""
