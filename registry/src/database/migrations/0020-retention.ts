/** How long data is kept, what is held, and what was deleted. */
export const name = 'retention';
export const expands = true;
export const sql = `
ALTER TABLE registry.orgs ADD COLUMN retention_days integer;
ALTER TABLE registry.orgs ADD COLUMN rollup_retention_days integer;
-- Neither refers to its organisation: both tell of it when it is gone.
CREATE TABLE registry.holds (
  id uuid PRIMARY KEY,
  org uuid NOT NULL,
  name text NOT NULL,
  reason text NOT NULL,
  channels uuid[],
  publishers uuid[],
  -- µs since 1970
  from_us bigint,
  to_us bigint,
  actor jsonb NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  -- When the store had been told.
  in_force_at timestamptz,
  released_by jsonb,
  released_at timestamptz
);
CREATE INDEX holds_active ON registry.holds (org) WHERE released_at IS NULL;
CREATE TABLE registry.deletions (
  -- Also that of the job, where somebody asked for it.
  id uuid PRIMARY KEY,
  org uuid NOT NULL,
  by_platform boolean NOT NULL,
  request jsonb NOT NULL,
  request_hash text NOT NULL,
  reason text NOT NULL,
  actor jsonb NOT NULL,
  asked_at timestamptz NOT NULL DEFAULT now(),
  due_at timestamptz NOT NULL DEFAULT now(),
  status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
  state jsonb NOT NULL DEFAULT '{}',
  before jsonb,
  remaining jsonb,
  error text,
  finished_at timestamptz
);
CREATE INDEX deletions_org ON registry.deletions (org, asked_at DESC);
CREATE INDEX deletions_due ON registry.deletions (due_at) WHERE by_platform AND finished_at IS NULL;
-- Which node looks after the stored data, and when it shall do so next.
CREATE TABLE registry.store_upkeep (
  single boolean PRIMARY KEY DEFAULT true CHECK (single),
  wanted_at timestamptz NOT NULL DEFAULT now(),
  swept_at timestamptz,
  holder uuid,
  held_until timestamptz NOT NULL DEFAULT '-infinity'
);
INSERT INTO registry.store_upkeep DEFAULT VALUES;
`;
