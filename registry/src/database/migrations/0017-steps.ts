/** Jobs that are carried out step by step, under a lease; exports. */
export const name = 'steps';
export const expands = true;
export const sql = `
-- Counts of rows and bytes; what was an integer reads the same to programs before this.
ALTER TABLE registry.jobs
  ALTER COLUMN total TYPE double precision,
  ALTER COLUMN done TYPE double precision,
  ALTER COLUMN failed TYPE double precision,
  -- What total, done and failed count.
  ADD COLUMN unit text NOT NULL DEFAULT 'items',
  ADD COLUMN input jsonb,
  ADD COLUMN state jsonb,
  ADD COLUMN result jsonb,
  ADD COLUMN started boolean NOT NULL DEFAULT false,
  -- Not before.
  ADD COLUMN due_at timestamptz,
  ADD COLUMN stepped_at timestamptz,
  -- Token of the node that works on it; void after lease_until.
  ADD COLUMN lease uuid,
  ADD COLUMN lease_until timestamptz,
  -- Until it is over and what it left behind is cleared away.
  ADD COLUMN unsettled boolean NOT NULL DEFAULT false,
  DROP CONSTRAINT jobs_kind_check,
  DROP CONSTRAINT jobs_status_check;
-- 'stepping' is waiting or running of such a job: programs before this work off whatever is waiting or running.
ALTER TABLE registry.jobs
  ADD CONSTRAINT jobs_kind_check CHECK (kind IN ('things.create', 'channels.create', 'exports.create',
    'imports.create', 'deletions.create', 'deadletters.replay')),
  ADD CONSTRAINT jobs_status_check CHECK (status IN ('waiting', 'running', 'stepping', 'done', 'failed', 'cancelled'));
CREATE INDEX jobs_unsettled ON registry.jobs (created_at) WHERE unsettled;
CREATE TABLE registry.exports (
  id uuid PRIMARY KEY REFERENCES registry.jobs ON DELETE CASCADE,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  -- As it was asked: {"query": …} or {"sql": …}.
  question jsonb NOT NULL,
  -- What that came to when it was asked: channels, publishers, the instant; later, the parts that it is cut into.
  plan jsonb NOT NULL,
  format text NOT NULL,
  compression text,
  spreadsheet boolean NOT NULL,
  destination text NOT NULL CHECK (destination IN ('download', 's3')),
  prefix text NOT NULL,
  -- So long after it is done.
  kept_seconds integer NOT NULL
);
CREATE INDEX exports_org ON registry.exports (org, id);
CREATE TABLE registry.export_files (
  export uuid NOT NULL REFERENCES registry.exports ON DELETE CASCADE,
  part integer NOT NULL,
  name text NOT NULL,
  -- The directory that it lies in, of one node or shared by several; null: it lies at url.
  place uuid,
  url text,
  bytes double precision NOT NULL,
  rows double precision NOT NULL,
  -- Hex.
  sha256 text NOT NULL,
  made_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (export, part)
);
CREATE INDEX export_files_place ON registry.export_files (place);
`;
