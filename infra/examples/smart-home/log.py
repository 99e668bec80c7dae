"""Writes each event into the log, one line of JSON."""

import json


def on_event(event, _context):
    print(json.dumps(event))
