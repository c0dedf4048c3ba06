/** A partition of the log stays on the shard of the store where it began. */
export const name = 'log-shards';
export const expands = true;
export const sql = `
CREATE TABLE registry.log_shards (
  topic text NOT NULL,
  partition integer NOT NULL,
  shard integer NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (topic, partition)
);
`;
