// Shows the document that the page names. Nothing is asked of any other server.
"use strict";
const element = document.getElementById("api");

// What is optional begins empty in the form: with the ETag or the key of an example, a request would fail or repeat another.
function withoutValues(api) {
  const operations = Object.values(api.paths).flatMap((item) => Object.values(item));
  const parameters = [...operations.flatMap((operation) => operation.parameters), ...Object.values(api.components.parameters)];
  for (const parameter of parameters) {
    if (parameter.required || parameter.example === undefined) continue;
    parameter.description = `${parameter.description.replace(/\.$/, "")}. For example \`${parameter.example}\``;
    delete parameter.example;
  }
  return api;
}

fetch(element.dataset.document)
  .then((answer) => answer.json())
  .then((api) =>
    SwaggerUIBundle({
      domNode: element,
      spec: withoutValues(api),
      validatorUrl: null,
      deepLinking: true,
      docExpansion: "none",
      defaultModelsExpandDepth: 0,
      displayRequestDuration: true,
      tryItOutEnabled: true,
    }),
  );
