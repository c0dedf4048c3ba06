import type { LoraKind } from '@millrace/core';
import { RegistryError } from '../error.ts';
import { keyProblem, originOf } from './endpoints.ts';
import type { Mqtt, Provisioning, ServerSettings } from './network-servers.ts';
import type { NewServerBody, ServerPatchBody } from './server-schemas.ts';
import { NO_SECRETS, type ServerSecrets } from './server-secrets.ts';

type MqttGiven = NonNullable<ServerPatchBody['mqtt']>;
type HttpGiven = NonNullable<ServerPatchBody['http']>;
type Parts = Pick<ServerPatchBody, 'mqtt' | 'http' | 'provisioning'>;
interface Settled {
  readonly settings: ServerSettings;
  readonly secrets: ServerSecrets;
}

const NOTHING: ServerSettings = { mqtt: null, http: null, provisioning: null };
const PROVISIONING: Provisioning = { group_id: null, subscribe: true, things_per_day_max: 1_000 };

/** The Things Stack's broker knows no shared subscriptions. */
const mqttDefaults = (kind: LoraKind): Omit<Mqtt, 'url'> => ({
  username: '',
  client_id: '',
  topic: '',
  share: kind === 'tts-v3' ? '' : 'millrace',
  qos: 1,
  format: 'json',
  ca: '',
  certificate: '',
});

export const newSettings = (body: NewServerBody): Settled => changedSettings(NOTHING, NO_SECRETS, body.kind, body);

/** What settings become by a change: of each part that is there, only what is given changes.
 *  @throws RegistryError REGISTRY_INVALID */
export function changedSettings(before: ServerSettings, had: ServerSecrets, kind: LoraKind, parts: Parts): Settled {
  const mqtt = parts.mqtt === undefined ? before.mqtt : parts.mqtt && changedMqtt(before.mqtt, kind, parts.mqtt);
  const http = parts.http === undefined ? before.http : parts.http && changedHttp(before.http, parts.http);
  const provisioning =
    parts.provisioning === undefined
      ? before.provisioning
      : parts.provisioning && { ...(before.provisioning ?? PROVISIONING), ...present(parts.provisioning) };
  const secrets: ServerSecrets = {
    password: mqtt === null ? '' : secretOf(parts.mqtt?.password, had.password),
    key: mqtt === null ? '' : secretOf(parts.mqtt?.key, had.key),
    token: http === null ? '' : secretOf(parts.http?.token, had.token),
  };
  mustBeTold(before.mqtt, mqtt, { 'mqtt.password': had.password, 'mqtt.key': had.key }, (name) =>
    name === 'mqtt.key' ? parts.mqtt?.key : parts.mqtt?.password,
  );
  mustBeTold(before.http, http, { 'http.token': had.token }, () => parts.http?.token);
  if (mqtt !== null) checkMqtt(mqtt, secrets, kind);
  return { settings: { mqtt, http, provisioning }, secrets };
}

function changedMqtt(before: Mqtt | null, kind: LoraKind, { password: _, key: __, url, ...given }: MqttGiven): Mqtt {
  const at = url ?? before?.url;
  if (at === undefined) throw invalid('mqtt.url', 'is missing');
  return { ...mqttDefaults(kind), ...before, ...present(given), url: at };
}

function changedHttp(before: ServerSettings['http'], { url = before?.url }: HttpGiven): { readonly url: string } {
  if (url === undefined) throw invalid('http.url', 'is missing');
  return { url };
}

const secretOf = (given: string | null | undefined, had: string): string => (given === undefined ? had : (given ?? ''));

/** Whoever changes where a server is need not know its secrets, and is not shown them: they are not sent elsewhere
 *  unless they are given again. */
function mustBeTold(
  before: { readonly url: string } | null,
  after: { readonly url: string } | null,
  secrets: Readonly<Record<string, string>>,
  given: (name: string) => string | null | undefined,
): void {
  if (before === null || after === null || originOf(before.url) === originOf(after.url)) return;
  for (const [name, secret] of Object.entries(secrets))
    if (secret !== '' && given(name) === undefined)
      throw invalid(name, 'must be given again (or null), since the server is somewhere else now');
}

function checkMqtt({ certificate, format }: Mqtt, { key }: ServerSecrets, kind: LoraKind): void {
  if (kind === 'tts-v3' && format !== 'json')
    throw invalid('mqtt.format', 'must be json: The Things Stack has no other');
  if (certificate === '' && key !== '') throw invalid('mqtt.certificate', 'is missing beside key');
  if (certificate === '') return;
  if (key === '') throw invalid('mqtt.key', 'is missing beside certificate');
  const problem = keyProblem(key, certificate);
  if (problem !== null) throw invalid('mqtt.key', problem);
}

const invalid = (field: string, because: string): RegistryError =>
  new RegistryError('REGISTRY_INVALID', 'never', { field, because });

/** Without what is undefined, which would take away what is there. */
const present = <T extends object>(given: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as never;
