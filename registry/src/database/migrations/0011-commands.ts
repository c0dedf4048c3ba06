/** What is on its way to devices. */
export const name = 'commands';
export const sql = `
`;
