"""CarRacing: two simulators of one game, drivers that know the track,
and stores of recorded episodes."""
