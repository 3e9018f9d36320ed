-- The W3C traceparent that the deliveries of an event continue; null where there is none.
ALTER TABLE events ADD COLUMN trace TEXT;
