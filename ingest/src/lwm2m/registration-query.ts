/** What a registration or update says in its query. Absent: null. */
export interface RegistrationQuery {
  readonly endpoint: string | null;
  readonly lifetimeSeconds: number | null;
  readonly version: string | null;
  readonly binding: string | null;
  readonly queueMode: boolean;
}
export type QueryFault = 'bad' | 'version';

/** @source OMA LwM2M Core 1.1 §6.2.1: an endpoint name is a URN or something else that is unique */
const ENDPOINT_BYTES_MAX = 255;
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROLS = /[\u0000-\u001f\u007f]/;
const LIFETIME_SECONDS_MAX = 4_294_967_295;
const BINDING = /^[UMHTSNQ]{1,8}$/;
const VERSION = /^1\.[012]$/;

/** @source OMA LwM2M Core 1.1 §6.2.1; 1.0 has queue mode as a letter of the binding, later ones as `Q` */
export function readRegistrationQuery(query: readonly string[]): RegistrationQuery | QueryFault {
  const said = new Map<string, string>();
  for (const part of query) {
    const equals = part.indexOf('=');
    const name = equals === -1 ? part : part.slice(0, equals);
    if (!said.has(name)) said.set(name, equals === -1 ? '' : part.slice(equals + 1));
  }
  const endpoint = said.get('ep') ?? null;
  if (endpoint !== null && !isEndpoint(endpoint)) return 'bad';
  const version = said.get('lwm2m') ?? null;
  if (version !== null && !VERSION.test(version)) return 'version';
  const binding = said.get('b') ?? null;
  if (binding !== null && !BINDING.test(binding)) return 'bad';
  const lifetime = said.get('lt');
  if (lifetime !== undefined && !/^[1-9]\d{0,9}$/.test(lifetime)) return 'bad';
  const lifetimeSeconds = lifetime === undefined ? null : Number(lifetime);
  if (lifetimeSeconds !== null && lifetimeSeconds > LIFETIME_SECONDS_MAX) return 'bad';
  const queueMode = said.has('Q') || (binding?.includes('Q') ?? false);
  return { endpoint, lifetimeSeconds, version, binding, queueMode };
}

export const isEndpoint = (text: string): boolean =>
  text !== '' && Buffer.byteLength(text) <= ENDPOINT_BYTES_MAX && !CONTROLS.test(text);
