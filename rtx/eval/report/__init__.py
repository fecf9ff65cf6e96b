"""An evaluation as one HTML file: tables with intervals, plots, films with what was done under them; two beside each other."""
