/** What was done about dead letters: replayed, or put aside. The letters themselves are with the readings. */
export const name = 'dead letters';
export const expands = true;
export const sql = `
-- Open ones have no row. What lists filter by is kept with it, so that nobody has to look through all letters.
CREATE TABLE registry.dead_letter_states (
  message uuid NOT NULL,
  -- Of the record in its pack; -1: the whole message.
  record integer NOT NULL,
  org uuid NOT NULL REFERENCES registry.orgs (id) ON DELETE CASCADE,
  channel text NOT NULL,
  publisher text NOT NULL,
  reason text NOT NULL,
  received timestamptz NOT NULL,
  state text NOT NULL CHECK (state IN ('replayed', 'discarded')),
  at timestamptz NOT NULL DEFAULT now(),
  actor text,
  actor_name text,
  PRIMARY KEY (message, record)
);
CREATE INDEX dead_letter_states_listed ON registry.dead_letter_states (org, state, received DESC, message, record);
-- Written before the message is put on the log, so that a replay that was cut short is not done anew.
CREATE TABLE registry.dead_letter_replays (
  id uuid PRIMARY KEY,
  message uuid NOT NULL,
  record integer NOT NULL,
  org uuid NOT NULL REFERENCES registry.orgs (id) ON DELETE CASCADE,
  -- SHA-256 of what is replayed.
  digest text NOT NULL,
  appended boolean NOT NULL DEFAULT false,
  at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (message, record, digest)
);
`;
