-- What is heaviest and hardly ever changed, requests and answers, is kept by day: a day that is over goes as a table.
-- Ids are ULIDs, so a day is a range of ids. What was there before is the first part, whatever its age; what belongs
-- to no day (a clock far ahead, work that outlived its day) is in `…_other`.

-- No ULID that was made on this day (UTC) or later is lower.
CREATE FUNCTION comporta_first_id(day DATE) RETURNS TEXT LANGUAGE sql IMMUTABLE AS
$$
SELECT string_agg(
    substr('0123456789abcdefghjkmnpqrstvwxyz', ((ms >> (shift * 5)) & 31)::INT + 1, 1), '' ORDER BY shift DESC
) || repeat('0', 16)
FROM (SELECT (extract(epoch FROM day) * 1000)::BIGINT AS ms) AS of, generate_series(0, 9) AS shift
$$;

CREATE TABLE days (
    parent TEXT NOT NULL,
    upto TEXT NOT NULL, -- the first id that is not in this part
    part TEXT NOT NULL,
    PRIMARY KEY (parent, upto)
);

-- Make the parts that are missing, up to some days ahead, each from where the one before it ends.
CREATE FUNCTION comporta_make_days(parent TEXT, key TEXT, ahead INT) RETURNS VOID LANGUAGE plpgsql AS
$$
DECLARE
    first TEXT; last TEXT; day DATE; part TEXT;
BEGIN
    PERFORM pg_advisory_xact_lock(20546);
    FOR n IN 0..ahead LOOP
        day := (clock_timestamp() AT TIME ZONE 'UTC')::DATE + n;
        last := comporta_first_id(day + 1);
        SELECT max(d.upto) INTO first FROM days AS d WHERE d.parent = comporta_make_days.parent;
        CONTINUE WHEN last <= first;
        part := parent || to_char(day, '"_"YYYYMMDD');
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING ALL)', part, parent);
        EXECUTE format('LOCK TABLE %I IN ACCESS EXCLUSIVE MODE', parent || '_other');
        EXECUTE format(
            'WITH moved AS (DELETE FROM %I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO %I SELECT * FROM moved',
            parent || '_other', key, first, key, last, part
        );
        EXECUTE format(
            'ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)', parent, part, first, last
        );
        INSERT INTO days VALUES (parent, last, part);
    END LOOP;
END
$$;

ALTER TABLE inbounds RENAME TO inbounds_before;
ALTER INDEX inbounds_pkey RENAME TO inbounds_before_pkey;
ALTER INDEX inbounds_tenant RENAME TO inbounds_before_tenant;
ALTER INDEX inbounds_unsettled RENAME TO inbounds_before_unsettled;
CREATE TABLE inbounds (LIKE inbounds_before INCLUDING DEFAULTS) PARTITION BY RANGE (id);
ALTER TABLE inbounds ADD PRIMARY KEY (id);
CREATE INDEX inbounds_tenant ON inbounds (tenant, id);
CREATE INDEX inbounds_unsettled ON inbounds (outcome, id) WHERE outcome IN ('quarantined', 'enriching');

ALTER TABLE attempts RENAME TO attempts_before;
ALTER INDEX attempts_pkey RENAME TO attempts_before_pkey;
CREATE TABLE attempts (LIKE attempts_before INCLUDING DEFAULTS) PARTITION BY RANGE (delivery_id);
ALTER TABLE attempts ADD PRIMARY KEY (delivery_id, number, at);

DO
$$
DECLARE
    bound TEXT; tomorrow TEXT := comporta_first_id((clock_timestamp() AT TIME ZONE 'UTC')::DATE + 1);
BEGIN
    SELECT greatest(tomorrow, max(id) || '0') INTO bound FROM inbounds_before;
    EXECUTE format('ALTER TABLE inbounds ATTACH PARTITION inbounds_before FOR VALUES FROM (MINVALUE) TO (%L)', bound);
    INSERT INTO days VALUES ('inbounds', bound, 'inbounds_before');
    SELECT greatest(tomorrow, max(delivery_id) || '0') INTO bound FROM attempts_before;
    EXECUTE format('ALTER TABLE attempts ATTACH PARTITION attempts_before FOR VALUES FROM (MINVALUE) TO (%L)', bound);
    INSERT INTO days VALUES ('attempts', bound, 'attempts_before');
END
$$;
CREATE TABLE inbounds_other PARTITION OF inbounds DEFAULT;
CREATE TABLE attempts_other PARTITION OF attempts DEFAULT;
SELECT comporta_make_days('inbounds', 'id', 1);
SELECT comporta_make_days('attempts', 'delivery_id', 1);
