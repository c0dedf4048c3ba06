/** What the documentation is grouped by, in the order of a reader. */
export const tags: readonly { readonly name: string; readonly description: string }[] = [
  {
    name: 'users',
    description: 'People: registration, login, sessions, their own account, and what administrators do with accounts.',
  },
  {
    name: 'organisations',
    description:
      'Tenants and their members. Everything else belongs to one organisation; ?org= says which, if you are in several.',
  },
  { name: 'invitations', description: 'How people become members of an organisation.' },
  { name: 'roles', description: 'Named sets of actions, beside the built-in owner, admin, editor and viewer.' },
  {
    name: 'groups',
    description: 'A tree of things, channels and groups; roles in a group hold for all that is below it.',
  },
  { name: 'things', description: 'Devices, gateways and apps, their keys and their presence.' },
  { name: 'channels', description: 'Where messages go: alias, profile, limits.' },
  { name: 'connections', description: 'Which thing may publish to and subscribe to which channel.' },
  { name: 'commands', description: 'What somebody wants of a device, and what became of it.' },
  { name: 'lwm2m', description: 'Devices of LwM2M: who they are, what they have, and what can be done with it.' },
  { name: 'messages', description: 'Publishing by HTTP, payloads as they came, and what became of a message.' },
  { name: 'readings', description: 'What was stored: pages, many series at once, aggregated, and the latest values.' },
  {
    name: 'sql',
    description: 'Questions in ClickHouse’s SQL over the organisation’s own rows, and saved ones.',
  },
  {
    name: 'policies',
    description: 'Documents of statements that allow or deny, with conditions; simulation of a decision.',
  },
  { name: 'keys', description: 'API keys: for scripts, limited to actions and objects.' },
  {
    name: 'certificates',
    description:
      'Certificates of things: issued by the platform, or by an authority that the organisation brought; revocation lists and OCSP.',
  },
  {
    name: 'lorawan',
    description: 'Network servers: ChirpStack and The Things Stack, whose devices publish here.',
  },
  { name: 'codecs', description: 'What turns the bytes of devices into data, and back.' },
  { name: 'applications', description: 'Other programs that people let in, or that come by themselves.' },
  { name: 'oauth', description: 'The OAuth 2.0 and OpenID Connect provider.' },
  { name: 'manifest', description: 'An organisation as one document: plan, apply, write back.' },
  { name: 'imports', description: 'Readings from files: CSV, NDJSON, Parquet, line protocol, SenML.' },
  { name: 'jobs', description: 'What takes longer than a request.' },
  { name: 'webhooks', description: 'Messages of a channel, sent to a URL: signed, tried again, kept when given up.' },
  { name: 'exports', description: 'Answers of any size, as files.' },
  { name: 'retention', description: 'How long stored data is kept: deletions with proof, and legal holds.' },
  { name: 'audit', description: 'Who changed what, and what was denied.' },
  { name: 'platform', description: 'Health, version, metrics and this document.' },
  {
    name: 'classic dialect',
    description: 'Paths that scripts for Mainflux and Magistrala use; the same data, checked the same way.',
  },
  { name: 'first dialect', description: 'Paths of the oldest firmware.' },
];
