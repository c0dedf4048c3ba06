export const appKinds = ['machine', 'web', 'browser', 'native'] as const;
export type AppKind = (typeof appKinds)[number];

/** Who runs where nobody else can read the code may keep a secret. */
export const keepsSecret = (kind: AppKind): boolean => kind === 'machine' || kind === 'web';
