"""Golden lines: translated again on a schedule, to see whether an adapter does what it did."""
