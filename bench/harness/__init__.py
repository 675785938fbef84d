"""What `bench/run` and `bench/profile` share. Python standard library only."""
