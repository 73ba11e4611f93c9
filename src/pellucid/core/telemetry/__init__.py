"""What a process says of itself: JSON log lines (`logs`) and Prometheus metrics (`metrics`).

Import the module that is needed; neither is imported here, because their libraries cost start-up time.
"""
