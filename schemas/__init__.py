"""What is on the wire: commands, controls, events, tokens, dead letters, the session value, and their one codec.

Names are imported from their modules (``from schemas.events import TurnStarted``); ``schemas`` itself gives the same
names, each loaded when it is first asked for.
"""
