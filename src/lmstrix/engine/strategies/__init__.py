"""The strategies that come with LMStrix, one room each. The door is `lmstrix.engine.strategy`."""
