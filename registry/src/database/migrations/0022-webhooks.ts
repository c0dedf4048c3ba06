/** Webhooks: where a channel's messages are sent, how far that has come, and what was given up. */
export const name = 'webhooks';
export const expands = true;
export const sql = `
CREATE TABLE registry.webhooks (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  channel uuid NOT NULL REFERENCES registry.channels ON DELETE CASCADE,
  name text NOT NULL,
  url text NOT NULL,
  subtopic text NOT NULL,
  format text NOT NULL,
  batch_messages integer NOT NULL,
  batch_ms integer NOT NULL,
  -- Signing secrets and the values of headers.
  sealed text NOT NULL,
  header_names text[] NOT NULL DEFAULT '{}',
  -- In whose name it reads.
  actor jsonb NOT NULL,
  enabled boolean NOT NULL DEFAULT true,
  disabled_reason text,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  UNIQUE (org, name)
);
CREATE INDEX webhooks_channel ON registry.webhooks (channel);
-- Which node delivers it, and where it stands in the log.
CREATE TABLE registry.webhook_states (
  webhook uuid PRIMARY KEY REFERENCES registry.webhooks ON DELETE CASCADE,
  log_partition integer,
  log_offset bigint,
  failing_since timestamptz,
  problem text,
  delivered bigint NOT NULL DEFAULT 0,
  given_up bigint NOT NULL DEFAULT 0,
  skipped bigint NOT NULL DEFAULT 0,
  holder uuid,
  held_until timestamptz NOT NULL DEFAULT '-infinity'
);
-- The last requests, for who looks why nothing comes.
CREATE UNLOGGED TABLE registry.webhook_deliveries (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  webhook uuid NOT NULL,
  request text NOT NULL,
  at timestamptz NOT NULL DEFAULT now(),
  messages integer NOT NULL,
  status integer,
  ms integer NOT NULL,
  error text
);
CREATE INDEX webhook_deliveries_webhook ON registry.webhook_deliveries (webhook, id DESC);
-- Requests that were given up.
CREATE TABLE registry.webhook_letters (
  id uuid PRIMARY KEY,
  webhook uuid NOT NULL REFERENCES registry.webhooks ON DELETE CASCADE,
  request text NOT NULL,
  headers jsonb NOT NULL,
  body bytea NOT NULL,
  messages integer NOT NULL,
  reason text NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  replay_at timestamptz
);
CREATE INDEX webhook_letters_webhook ON registry.webhook_letters (webhook, id);
`;
