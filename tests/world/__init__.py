"""The outside as m43 meets it: stand-ins for what lies behind the hub, met by the real clients."""
