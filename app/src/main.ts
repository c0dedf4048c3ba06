import { createProgram } from './commands/program.ts';

await createProgram().parseAsync();
