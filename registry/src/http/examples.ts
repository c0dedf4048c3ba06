/** What the documentation's examples speak of. A test makes an organisation with all of it, then runs each example. */
export const example = {
  org: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0001',
  user: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0002',
  /** A second member. */
  member: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0003',
  thing: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0010',
  /** Not connected with anything. */
  otherThing: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0011',
  thingKey: 'example-thing-key-0123456789',
  channel: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0020',
  otherChannel: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0021',
  group: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0030',
  otherGroup: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0031',
  role: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0040',
  policy: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0050',
  apiKey: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0060',
  application: '5f0c7d2e-0b1a-4c7e-9a51-3f1f6a9d0070',
  email: 'ada@example.org',
  password: 'correct horse battery staple',
} as const;
