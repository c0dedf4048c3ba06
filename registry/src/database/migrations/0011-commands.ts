/** What is on its way to devices. */
export const name = 'commands';
export const sql = `
CREATE TABLE registry.commands (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  thing uuid NOT NULL REFERENCES registry.things ON DELETE CASCADE,
  kind text NOT NULL,
  state text NOT NULL DEFAULT 'queued'
    CHECK (state IN ('queued', 'sent', 'acknowledged', 'done', 'failed', 'expired', 'cancelled')),
  -- Sealed, as JSON: what is written to a device may be a secret, and what it answers may be any text.
  arguments text NOT NULL,
  result text,
  detail text,
  -- Who gave it: kind, id and name.
  actor jsonb NOT NULL,
  -- Times that it was taken.
  attempts integer NOT NULL DEFAULT 0,
  -- Who took it has until then to say what became of it; null: nobody has taken it, or it was said.
  lease_until timestamptz,
  created_at timestamptz NOT NULL DEFAULT now(),
  expires_at timestamptz NOT NULL,
  settled_at timestamptz
);
CREATE INDEX commands_org ON registry.commands (org);
CREATE INDEX commands_thing ON registry.commands (thing, created_at, id);
-- What nobody has begun, or somebody has to say soon what became of it; not what is sent and may never be heard of again.
CREATE INDEX commands_waiting ON registry.commands (thing, created_at, id)
  WHERE state = 'queued' OR lease_until IS NOT NULL;
CREATE INDEX commands_waiting_kind ON registry.commands (kind, org, created_at, id)
  WHERE state = 'queued' OR lease_until IS NOT NULL;
CREATE INDEX commands_expiring ON registry.commands (expires_at) WHERE settled_at IS NULL;
CREATE INDEX commands_settled ON registry.commands (settled_at) WHERE settled_at IS NOT NULL;
`;
