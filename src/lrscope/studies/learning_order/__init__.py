"""Learning order (Li, Wei, Ma 2019): the theory's model, at finite and infinite width. No study yet: it is in no table."""
