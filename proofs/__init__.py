"""What proves more than a day's tests can, and takes longer: none of it runs with them."""
