import { z } from '@hono/zod-openapi';
import { LORA_KINDS, NETWORK_SERVER_STATES } from '@millrace/core';
import { id, page, shared, text } from '../http/schemas.ts';
import { certificatesOf, filterProblem, urlProblem } from './endpoints.ts';

const URL_CHARACTERS_MAX = 2_048;
const PEM_CHARACTERS_MAX = 64 * 1024;
const THINGS_PER_DAY_MAX = 1_000_000;

/** A text that a function finds nothing wrong with. */
const checked = (charactersMax: number, problem: (value: string) => string | null) =>
  text(charactersMax).superRefine((value, context) => {
    const because = problem(value);
    if (because !== null) context.addIssue({ code: 'custom', message: because });
  });
const optionalText = (charactersMax: number, problem: (value: string) => string | null) =>
  checked(charactersMax, (value) => (value === '' ? null : problem(value)));

const brokerUrl = checked(URL_CHARACTERS_MAX, (url) => urlProblem(url, ['mqtt:', 'mqtts:', 'ws:', 'wss:'])).describe(
  'mqtt://host:1883, mqtts://host:8883, ws://… or wss://…',
);
const apiUrl = checked(URL_CHARACTERS_MAX, (url) => urlProblem(url, ['http:', 'https:'])).describe(
  'Where its REST API is: https://host[:port][/path].',
);
const certificates = optionalText(PEM_CHARACTERS_MAX, (pem) =>
  certificatesOf(pem) === null ? 'must be certificates, PEM' : null,
);
const secret = (charactersMax: number) => text(charactersMax).nullable();

const mqttMembers = {
  username: text(1_024).describe('"" for none. Of The Things Stack: <application>@<tenant>.'),
  password: secret(4_096).describe('Kept sealed, never shown. null takes it away.'),
  client_id: text(128).describe('Each node adds something of its own. "" for one that is made up.'),
  topic: optionalText(512, filterProblem).describe('Filter of the events; "" for what its kind has.'),
  share: text(64)
    .regex(/^[^/+#]*$/, 'holds /, + or #')
    .describe('Group of the shared subscription ($share), so that nodes split the load; "" for none.'),
  qos: z.union([z.literal(0), z.literal(1), z.literal(2)]),
  format: z.enum(['json', 'protobuf']).describe('What its MQTT integration is set to (marshaler).'),
  ca: certificates.describe('Authorities that are trusted with it, PEM; "" for those of the system.'),
  certificate: certificates.describe('Client certificate, and those between it and its authority, PEM; "" for none.'),
  key: secret(PEM_CHARACTERS_MAX).describe('Its private key, PEM. Kept sealed, never shown. null takes it away.'),
};
const httpMembers = {
  token: secret(4_096).describe('API key. Kept sealed, never shown. null takes it away.'),
};
const provisioningMembers = {
  group_id: z.uuid().nullable().describe('Things are made in this group.'),
  subscribe: z.boolean().describe('Whether they may have the messages of the channel, too: downlinks.'),
  things_per_day_max: z.int().min(1).max(THINGS_PER_DAY_MAX),
};
const optional = <S extends Record<string, z.ZodType>>(members: S) =>
  z.strictObject(members).partial() as unknown as z.ZodObject<{ [K in keyof S]: z.ZodOptional<S[K]> }, z.core.$strict>;

const NewMqttBody = optional(mqttMembers).extend({ url: brokerUrl });
const MqttPatch = optional({ url: brokerUrl, ...mqttMembers });
const NewHttpBody = optional(httpMembers).extend({ url: apiUrl });
const HttpPatch = optional({ url: apiUrl, ...httpMembers });
const ProvisioningBody = optional(provisioningMembers);

const name = text(256).min(1);
const MQTT = 'Where its events are taken from; null: it sends them by HTTP.';
const HTTP = 'Where downlinks are enqueued; null: by MQTT.';
const PROVISIONING = 'What becomes of devices that nobody has registered; null: their events are dead letters.';

export const NewServerBody = z.strictObject({
  id: id.optional(),
  name,
  kind: z.enum(LORA_KINDS),
  enabled: z.boolean().optional(),
  mqtt: NewMqttBody.nullable().optional().describe(MQTT),
  http: NewHttpBody.nullable().optional().describe(HTTP),
  provisioning: ProvisioningBody.nullable().optional().describe(PROVISIONING),
});
/** Of a part that is there already only what is given changes. */
export const ServerPatchBody = z.strictObject({
  name: name.optional(),
  enabled: z.boolean().optional(),
  mqtt: MqttPatch.nullable().optional().describe(MQTT),
  http: HttpPatch.nullable().optional().describe(HTTP),
  provisioning: ProvisioningBody.nullable().optional().describe(PROVISIONING),
});
export type NewServerBody = z.output<typeof NewServerBody>;
export type ServerPatchBody = z.output<typeof ServerPatchBody>;

const { metadata: _metadata, tags: _tags, ...common } = shared;
const isSet = z.boolean().describe('Whether there is one.');
export const ServerAnswer = z
  .object({
    ...common,
    kind: z.enum(LORA_KINDS),
    mqtt: z
      .object({
        url: z.string(),
        username: z.string(),
        password_set: isSet,
        client_id: z.string(),
        topic: z.string(),
        share: z.string(),
        qos: z.int(),
        format: z.enum(['json', 'protobuf']),
        ca: z.string(),
        certificate: z.string(),
        key_set: isSet,
      })
      .nullable(),
    http: z.object({ url: z.string(), token_set: isSet }).nullable(),
    provisioning: z
      .object({ group_id: z.uuid().nullable(), subscribe: z.boolean(), things_per_day_max: z.int() })
      .nullable(),
  })
  .openapi('NetworkServer');
export const ServersPage = page('networkservers', ServerAnswer);
export const ServerStatusAnswer = z
  .object({
    server: z.uuid(),
    provisioned_today: z.int().describe('Things that it has made since midnight, UTC.'),
    nodes: z
      .array(
        z.object({
          node: z.uuid(),
          state: z.enum(NETWORK_SERVER_STATES).describe('refused: it does not let the node in.'),
          detail: z.string(),
          since: z.iso.datetime(),
          last_event_at: z.iso.datetime().nullable(),
          seen_at: z.iso.datetime(),
        }),
      )
      .describe('How the connection of each node with its broker is; empty where it has none.'),
  })
  .openapi('NetworkServerStatus');
