export const name = 'access';
export const sql = `
`;
