"""The chapters' figures: functions from measured numbers to a matplotlib figure."""
