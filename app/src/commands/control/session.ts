import type { CommandSpecification } from './specification.ts';

// What runs is loaded when it is called: it brings the client along.
export const session: readonly CommandSpecification[] = [
  {
    name: 'login',
    summary: 'log in, and keep that as a profile',
    arguments: [{ name: '[email]', description: 'asked for if left out' }],
    options: [
      { flags: '--password-stdin', description: 'read the password from standard input' },
      { flags: '--token <token>', description: 'a token or API key instead; @file or @- to read it' },
      { flags: '--local', description: 'as the first administrator of the node on this machine' },
      {
        flags: '-d, --data-dir <path>',
        description: 'with --local: its data directory (MILLRACE_DATA_DIR, default ./data)',
      },
    ],
    examples: [
      'millrace login ada@example.org --url https://iot.example.org',
      'millrace login ada@example.org --password-stdin < password.txt',
      'millrace login --local',
      'millrace login --token @api-key.txt --profile ci',
    ],
    run: async (call) => (await import('./login.ts')).logIn(call),
  },
  {
    name: 'logout',
    summary: 'end the session and forget it',
    options: [{ flags: '--everywhere', description: 'end all of your sessions, on all machines' }],
    examples: ['millrace logout', 'millrace logout --everywhere'],
    run: async (call) => (await import('./login.ts')).logOut(call),
  },
  {
    name: 'whoami',
    summary: 'who is logged in, and where',
    examples: ['millrace whoami'],
    run: async (call) => (await import('./login.ts')).whoAmI(call),
  },
  {
    name: 'profiles',
    summary: 'list profiles, or change to one',
    arguments: [{ name: '[name]', description: 'the one to use from now on' }],
    examples: ['millrace profiles', 'millrace profiles production'],
    offline: true,
    run: async (call) => (await import('./login.ts')).profiles(call),
  },
];
