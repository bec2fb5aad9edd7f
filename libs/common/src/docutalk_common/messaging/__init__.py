"""Moving messages reliably: the streams, the consumer middleware, the outbox and its relay, requests."""
