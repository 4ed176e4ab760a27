"""Many runs beside each other: numbers by address, one table, one figure."""
