"""The page at `/`: translate as one types, side by side; adapters; what the server does now.

site       routes                                   what a reader opens first
files      the page's static files, with their headers
requests   what the page asks, as commands
columns    several translations of one text as one stream of events
views      what there is: languages, adapters, routes, glossaries
live       what the server does now, as it counts it itself
feedback   corrected translations on their way to whoever keeps them
"""
