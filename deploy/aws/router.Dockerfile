# The path router in front of ingest, scheduler and console, as compose runs it. The build context is the root of the repository:
#   docker build -f deploy/aws/router.Dockerfile -t trainyard-router .
FROM nginx:1.26
COPY deploy/router/nginx.conf /etc/trainyard/nginx.conf
USER 101:101
EXPOSE 8080
CMD ["nginx", "-c", "/etc/trainyard/nginx.conf", "-g", "daemon off;"]
