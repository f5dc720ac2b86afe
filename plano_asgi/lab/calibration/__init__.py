"""Reading a classifier's confidence rightly: a temperature, thresholds, and the band in which a cascade asks on."""
