/** Files of readings that are imported: what was asked, how far it is, and until then the files. */
export const name = 'imports';
export const expands = true;
export const sql = `
CREATE TABLE registry.imports (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  channel uuid NOT NULL,
  -- What the file is and how it is read; digest: of all of it that changes what is stored.
  request jsonb NOT NULL,
  digest text NOT NULL,
  sha256 text NOT NULL,
  -- Counts those that were forced though the same had been imported.
  attempt integer NOT NULL DEFAULT 0,
  status text NOT NULL CHECK (status IN ('uploading', 'running', 'done', 'failed', 'cancelled')),
  job uuid,
  reason text,
  -- Of the file.
  size double precision NOT NULL DEFAULT 0,
  -- Entries of the file that have been worked off; what of them became what.
  entries double precision NOT NULL DEFAULT 0,
  rows double precision NOT NULL DEFAULT 0,
  readings double precision NOT NULL DEFAULT 0,
  messages double precision NOT NULL DEFAULT 0,
  rejected double precision NOT NULL DEFAULT 0,
  -- Where its messages stand in the log.
  partition integer,
  first_offset double precision,
  last_offset double precision,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  finished_at timestamptz,
  UNIQUE (org, channel, sha256, digest, attempt)
);
CREATE INDEX imports_listed ON registry.imports (org, created_at DESC, id DESC);
CREATE INDEX imports_uploading ON registry.imports (updated_at) WHERE status = 'uploading';
-- Until the import is over. Any node can work on it, whichever took the file.
CREATE TABLE registry.import_parts (
  import uuid NOT NULL REFERENCES registry.imports ON DELETE CASCADE,
  place integer NOT NULL,
  size integer NOT NULL,
  bytes bytea NOT NULL,
  PRIMARY KEY (import, place)
);
-- Files are packed already, or are read in slices.
ALTER TABLE registry.import_parts ALTER COLUMN bytes SET STORAGE EXTERNAL;
CREATE TABLE registry.import_errors (
  import uuid NOT NULL REFERENCES registry.imports ON DELETE CASCADE,
  place integer NOT NULL,
  line double precision NOT NULL,
  reason text NOT NULL,
  text text NOT NULL,
  PRIMARY KEY (import, place)
);
`;
