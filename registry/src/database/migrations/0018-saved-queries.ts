/** Statements of SQL that people keep under a name. */
export const name = 'saved-queries';
export const expands = true;
export const sql = `
CREATE TABLE registry.saved_queries (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  description text NOT NULL DEFAULT '',
  query text NOT NULL,
  -- Values of its parameters, where who runs it gives none.
  parameters jsonb NOT NULL DEFAULT '{}',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT saved_queries_name_unique UNIQUE (org, name)
);
`;
