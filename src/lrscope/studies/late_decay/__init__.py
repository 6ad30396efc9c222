"""Late decay (Ren, Ma, Ying 2024): the theory's model y = |w|^gamma <w, x>. No study yet: it is in no table."""
