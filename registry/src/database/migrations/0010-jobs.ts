/** Work that is larger than a request, and what is left of it to do. */
export const name = 'jobs';
export const sql = `
CREATE TABLE registry.jobs (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  kind text NOT NULL CHECK (kind IN ('things.create', 'channels.create')),
  status text NOT NULL DEFAULT 'waiting' CHECK (status IN ('waiting', 'running', 'done', 'failed', 'cancelled')),
  total integer NOT NULL,
  -- Lines that have been worked off, and how many of them could not be made.
  done integer NOT NULL DEFAULT 0,
  failed integer NOT NULL DEFAULT 0,
  -- Who asked for it: what it makes is theirs in the audit.
  actor jsonb NOT NULL,
  -- Where its lines belong; null among them: into no group. Who asked must hold the right there until the end.
  groups uuid[] NOT NULL,
  -- Times that it broke down for no fault of its lines, and how.
  breakdowns integer NOT NULL DEFAULT 0,
  reason text,
  created_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz
);
CREATE INDEX jobs_org ON registry.jobs (org, created_at, id);
CREATE INDEX jobs_open ON registry.jobs (created_at) WHERE status IN ('waiting', 'running');
CREATE INDEX jobs_finished ON registry.jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE TABLE registry.job_chunks (
  job uuid NOT NULL REFERENCES registry.jobs ON DELETE CASCADE,
  place integer NOT NULL,
  -- Lines of the request: those after first, so many.
  first integer NOT NULL,
  count integer NOT NULL,
  -- Sealed, since lines may hold keys; null once they are worked off.
  input text,
  -- Sealed: the ids and keys that were made.
  results text,
  errors jsonb NOT NULL DEFAULT '[]',
  PRIMARY KEY (job, place)
);
`;
