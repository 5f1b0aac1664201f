"""Measurements beside a peer, in one run, as commands that print JSON. Figures are ratios: machines differ."""
