/** Network servers and codecs. */
export const name = 'lora';
export const sql = `
-- The DevEUI of a thing: 16 hex digits in lower case, or null. Plain SQL, so that it is inlined.
CREATE FUNCTION registry.dev_eui(text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN $1 ~ '^[0-9A-Fa-f]{2}([-:]?[0-9A-Fa-f]{2}){7}$' THEN lower(translate($1, '-:', '')) END
$$;
CREATE FUNCTION registry.lora_dev_eui(metadata jsonb, external_id text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT coalesce(registry.dev_eui(metadata #>> '{lora,dev_eui}'), registry.dev_eui(external_id))
$$;
CREATE INDEX things_dev_eui ON registry.things (org, registry.lora_dev_eui(metadata, external_id))
  WHERE registry.lora_dev_eui(metadata, external_id) IS NOT NULL;
CREATE INDEX channels_lora_app ON registry.channels (org, lower(metadata #>> '{lora,app_id}'))
  WHERE lower(metadata #>> '{lora,app_id}') IS NOT NULL;
CREATE TABLE registry.network_servers (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('chirpstack-v4', 'chirpstack-v3', 'tts-v3')),
  enabled boolean NOT NULL DEFAULT true,
  -- As the API shows them, without what is secret.
  mqtt jsonb,
  http jsonb,
  provisioning jsonb,
  -- JSON with the password, the private key and the token; sealed.
  secrets text NOT NULL,
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT network_servers_name_unique UNIQUE (org, name)
);
-- Things that a server has made of unknown devices, by day in UTC.
CREATE TABLE registry.network_server_days (
  server uuid NOT NULL REFERENCES registry.network_servers ON DELETE CASCADE,
  day date NOT NULL,
  things integer NOT NULL,
  PRIMARY KEY (server, day)
);
-- How each node's connection with a server is. Not logged: nodes say it again.
CREATE UNLOGGED TABLE registry.network_server_states (
  server uuid NOT NULL REFERENCES registry.network_servers ON DELETE CASCADE,
  node uuid NOT NULL,
  state text NOT NULL,
  detail text NOT NULL,
  since timestamptz NOT NULL,
  last_event_at timestamptz,
  seen_at timestamptz NOT NULL,
  PRIMARY KEY (server, node)
);
CREATE TABLE registry.codecs (
  id uuid PRIMARY KEY,
  org uuid NOT NULL REFERENCES registry.orgs ON DELETE CASCADE,
  name text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('javascript', 'cayenne-lpp')),
  script text NOT NULL,
  -- Ids or names, as the network server says them.
  device_profiles text[] NOT NULL DEFAULT '{}',
  description text NOT NULL DEFAULT '',
  version integer NOT NULL DEFAULT 1,
  created_at timestamptz NOT NULL DEFAULT now(),
  updated_at timestamptz NOT NULL DEFAULT now(),
  CONSTRAINT codecs_name_unique UNIQUE (org, name)
);
`;
