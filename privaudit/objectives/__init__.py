"""Equations that tie weights to training images, one file each, behind the interface in `interface.py`.

`multipliers.MULTIPLIERS` names the published multiplier equations, `feature_span.FeatureSpan` searches one image at a
time;
`privaudit.searches` builds the ones that apply.
"""
